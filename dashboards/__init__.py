"""Pictures of a study. Nothing here imports nas, trials or space: the stored study is all that is
read.
"""
