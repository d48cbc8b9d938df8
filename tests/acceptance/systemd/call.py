"""Make one call: `call.py METHOD PATH`, with a body from standard input.

Prints the answer; fails unless it is a success.
"""

import sys
from urllib.request import Request, urlopen

method, path = sys.argv[1:]
body = sys.stdin.read().encode() or None
request = Request(f"http://127.0.0.1:8790{path}", body, method=method)
request.add_header("Content-Type", "application/json")
with urlopen(request, timeout=10) as answer:  # noqa: S310 - http, as above
    print(answer.read().decode())  # noqa: T201 - for who started us
