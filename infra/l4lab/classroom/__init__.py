"""A class: on one cluster a namespace, limits and a login for each student, or a cluster for each.

``file`` reads classroom.yaml, ``crew`` works for many students at once, ``results`` keeps what
came of the checks. What the command line does is in ``verbs`` and ``reset`` where one cluster is
shared (``objects`` says what a student gets there), and in ``each`` where each has their own
(``own`` and ``clusters`` say which).
"""

from l4lab.classroom.file import FILE, load
from l4lab.classroom.model import Classroom, Limits, Outcome, Student

__all__ = ["FILE", "Classroom", "Limits", "Outcome", "Student", "load"]
