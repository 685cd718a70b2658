"""Fitting a scorer on Ray Train: one loop for all of them; a scorer brings its learner.

fit         the stage: cases in, the fitted scorer's folder and its figures out
survey      what the corpus holds (labels, texts) before the first step
tokens      a WordPiece vocabulary from the corpus' own texts
examples    cases as a learner's inputs, streamed by shard
workers     Ray Train's workers, restarted where they die
training    the loop of one worker: steps, validation, checkpoints
"""
