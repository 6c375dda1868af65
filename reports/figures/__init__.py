"""The figures of a report, one idea a file; each reads finished scores or curves and computes nothing."""
