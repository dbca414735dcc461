"""``python -m egflow.report``: see `egflow.cli`."""

from egflow.cli import enter

if __name__ == "__main__":
    enter("report")
