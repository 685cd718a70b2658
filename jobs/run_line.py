"""The whole line, from cases to figures: every stage in its order, each resumed or skipped as it stands."""

import align
import build_preferences
import evaluate
import fit_scorer
import predict
import prepare_cases

from mint_ray.command import run_stages

if __name__ == "__main__":
    run = run_stages(
        __doc__,
        {
            "cases": prepare_cases.work,
            "scorer": fit_scorer.work,
            "preferences": build_preferences.work,
            "alignment": align.work,
            "answers": predict.work,
            "evaluation": evaluate.work,
        },
    )
    print(f"Report: {run.dir / 'evaluation' / 'report.html'}")
