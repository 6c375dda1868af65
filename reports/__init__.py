"""Metrics, intervals, figures and reports."""
