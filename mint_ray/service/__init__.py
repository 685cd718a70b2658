"""The upstream scorer behind HTTP, on Ray Serve: fast, bounded, and safe by default.

settings     what an operator may set
api          requests and answers
problems     RFC 9457 problem details: every error that the service may give, by a stable code
intake       a case from outside to what a scorer sees, with every bound checked
batching     one queue, one forward at a time: requests share it and nobody waits for company
engine       cases in, rankings out
guards       ASGI middleware: errors, access, bounds on bodies, requests and time
metrics      Prometheus
app          the HTTP application over an engine; runs under any ASGI server
deployment   the Ray Serve deployment that holds a scorer, an engine and the application
launch       start, wait until ready, and fail aloud
handle       the running application as a `Scorer`, for Ray Data
"""
