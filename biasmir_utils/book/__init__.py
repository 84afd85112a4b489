"""How the book is made: run the notebooks, build the pages, check them, photograph them.

The steps, each a module and a command of ``python -m biasmir_utils.book``:

- `stage` runs every notebook once with papermill, in this Python, and keeps the executed copies
  under the same relative paths in ``_build/staged``, with the seconds and the memory they took;
- `build` copies the pages beside them and has Jupyter Book make ``_build/html`` from that tree,
  with execution off and warnings as errors, so that the book shows what papermill ran;
- `checks` reads the built pages: alternative texts, links, nothing loaded from elsewhere;
- `screenshots` photographs them in a headless Chromium, at desktop and phone width.

`make book` and the tests call the same functions.
"""
