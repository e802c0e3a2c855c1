"""Pretrain a small multilingual model from text: the sample's model, and the baseline that is trained from scratch."""
