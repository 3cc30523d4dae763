"""Check a bundle: hashes, stored kernels, and what its files compute."""

from .command import Call, Parser, require_checks, require_for, say_quality


def add_arguments(parser: Parser) -> None:
    parser.add_path("bundle", "BUNDLE")
    parser.add_path("--model", "DIR", "also against the Keras model, OUT/model")
    parser.add_value("--data", "SOURCE", "also the quality on this source's test set")
    parser.add_path("--json", "FILE", "write the metrics here")
    parser.add_path("--junit", "FILE", "write the checks as JUnit XML, for CI")
    parser.add_path("--markdown", "FILE", "write a summary in Markdown, for a job's page")
    parser.add_path("--baseline", "FILE", "fail where these earlier metrics were better")
    parser.add_value(
        "--allow", "FRACTION", "how much worse than the baseline is fine (default: 0.01)", type=float, default=0.01
    )
    parser.add_value("--tolerance", "KEY=VALUE", "replace a tolerance of the recipe's [verify]", action="append", default=[])


def run(call: Call) -> None:
    require_for(call.bundle, call.model)
    from tiedae.export.report.result_writers import OUTCOMES, overview

    from ..verification import verify

    limits = {"tolerances": call.tolerance, "baseline": call.baseline, "allow": call.allow}
    metrics = verify(call.bundle, model=call.model, data=call.data, **limits, announce=call.console.note)
    for check in metrics.checks:
        call.console.detail(f"{'ok' if check.ok else 'FAILED'}  {check.text}")
    for table in overview(metrics):
        call.console.table(*table)
    say_quality(metrics, call.console)
    call.write(metrics, OUTCOMES)
    require_checks(call.bundle, metrics)
    call.console.say(f"{call.bundle}: all {len(metrics.checks)} checks hold")
