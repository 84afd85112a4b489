"""`python -m biasmir_utils` is the command `biasmir`."""

from biasmir_utils.cli import main

main(prog_name="biasmir")
