"""New patients answered by a finished run: another corpus in, a differential for each of its cases out.

`source` says what a path holds, `answering` has the work, `differential` what a case was answered, `outputs` writes it.
The page is docs/notes.md.
"""
