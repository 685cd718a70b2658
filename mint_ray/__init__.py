"""mint_ray: multimodal knowledge transferred to a unimodal language model, on Ray.

The line, and the package that owns each station:

    corpora -> scorers -> preferences -> alignment -> inference -> evaluation
     cases     rankings    pairs          adapter      answers      figures, report
"""

__version__ = "0.1.0"
