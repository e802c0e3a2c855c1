"""Measure trimming, building and one training step at the size of XLM-R-base and mBERT."""
