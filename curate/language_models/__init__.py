"""N-gram language models with modified Kneser-Ney smoothing: tokens, training, ARPA files, scoring."""
