"""A class on one cluster: for each student a namespace, limits, a login, and the labs.

``file`` reads classroom.yaml, ``objects`` says what a student gets, ``crew`` works for many
students at once, ``verbs`` and ``reset`` are what the command line does, ``results`` keeps what
came of the checks.
"""

from l4lab.classroom.file import FILE, load
from l4lab.classroom.model import Classroom, Limits, Outcome, Student

__all__ = ["FILE", "Classroom", "Limits", "Outcome", "Student", "load"]
