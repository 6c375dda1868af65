"""Running the (backbone, fold) jobs: one interface, and an engine each for this machine, Dask and Ray.

An engine yields a `JobOutcome` for every job that ends and raises for none that fails. Every engine runs the same
function in a process that runs one job at a time, so that its results do not depend on the engine.
"""
