"""What `bench_train.py` measures, one file a part."""
