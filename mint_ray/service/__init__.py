"""The upstream scorer and the language models behind HTTP, on Ray Serve: fast, bounded, and safe by default.

For both:
settings       what an operator may set
problems       RFC 9457 problem details: every error that a service may give, by a stable code
intake         JSON and images from outside, with every bound checked
guards         ASGI middleware: errors, access, bounds on bodies, requests and time
metrics        Prometheus
file           a Serve configuration, checked before anything starts
launch         start, wait until ready, and fail aloud
haproxy        Serve's HAProxy, closed where Serve leaves it open
connections    a bound on every connection's time, before and beside the guards
ports          for what starts a moment later

The scorer:
api            requests and answers
batching       one queue, a few forwards at a time: requests share them and nobody waits for company
scoring        the scorer in processes of its own, beside the event loop
engine         cases in, rankings out
app            the HTTP application over an engine; runs under any ASGI server
deployment     the Ray Serve deployment that holds a scorer, an engine and the application
handle         the running application as a `Scorer`, for Ray Data

The models:
models         which names lead to which weights
parts          text and images of a chat, checked before an engine sees them
readiness      whether the engines answer for themselves
questions      a case to the request about it, an answer to names with ids: what the page is made of
openai_errors  problems in OpenAI's form
chat           Ray Serve LLM's engines behind its router, and our guards before that
"""
