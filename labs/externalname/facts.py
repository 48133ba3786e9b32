"""The data of the lab: written once, used by its program and by its checks."""

from __future__ import annotations

from typing import Final

TITLE: Final = "ExternalName: a name of the cluster for a site outside it"
NAMESPACE: Final = "default"
# Whether a class can have it on one cluster, each student in a namespace.
SHARED: Final = True

SERVICE: Final = "baidu"

# The one fact that decides which site it is. Machines without internet have a host on their network
# that plays one. Where pods reach the internet, take the course's own: www.baidu.com.
EXTERNAL_NAME: Final = "www.outside.test"

# Names that end so exist in labs only. What is known of a played site alone (its address, who
# signed its certificate) is not checked of a real one.
PLAYED: Final = EXTERNAL_NAME.endswith(".test")
AUTHORITY: Final = f"http://{EXTERNAL_NAME}/ca.crt"

# The lab's second target: a name of the cluster itself, which there is always.
INSIDE_NAME: Final = "kubernetes.default.svc.cluster.local"

# A pod to ask from: it has curl, dig and openssl.
CLIENT: Final = "externalname-client"
CLIENT_IMAGE: Final = "localhost/l4lab/toolbox:1"

# The outside is there without any lab, and so is the API that refuses.
ALWAYS_GREEN: Final = ("outside-dns", "outside-site", "api-refuses")

# Kind and name of all that the program, a step or an exercise makes: what a reset deletes where
# somebody has made it by hand.
OBJECTS: Final = (
    ("Service", SERVICE),
    ("Pod", CLIENT),
)
