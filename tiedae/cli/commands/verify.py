"""Check a bundle: hashes, stored kernels, and what its files compute."""

from .command import Call, Parser, require_checks, require_for, say_checks, say_verdict

FAILS = "a check failed, or a figure is worse than --baseline allows or could not be measured"


def add_arguments(parser: Parser) -> None:
    parser.add_bundle()
    parser.add_path("--model", "DIR", "also against the Keras model, OUT/model")
    parser.add_path("--data", "SOURCE", "also quality and the task's figures on this source's test set", type=str)
    parser.add_json("the metrics")
    parser.add_file("--junit", text="write the checks as JUnit XML, for CI")
    parser.add_file("--markdown", text="write a summary in Markdown, for a job's page")
    parser.add_path("--baseline", "FILE", "fail where these earlier metrics were better")
    text = "how much worse than the baseline is fine (default: 0.01), by figure too: bytes=0.06,error=0.01"
    parser.add_value("--allow", "FRACTION", text, default="0.01")
    parser.add_flag("--allow-unmeasured", "figures of the baseline that cannot be measured here are no failure")
    text = "replace a limit of the recipe's [verify]"
    parser.add_value("--limit", "KEY=VALUE", text, action="append", default=[])
    parser.add_flag("--bundle-limits", "apply limits of the bundle's own recipe that are looser than the defaults")
    parser.add_flag("--run-c", "run .c files that are not what this version writes of the program: their code runs here")


def run(call: Call) -> None:
    require_for(call.locate_bundle(), call.model)
    from tiedae.report.result_writers import OUTCOMES, headline, overview

    from ..verification import verify

    limits = {"limits": call.limit, "baseline": call.baseline, "allow": call.allow, "run_source": call.run_c}
    limits |= {"allow_unmeasured": call.allow_unmeasured, "bundle_limits": call.bundle_limits}
    metrics = verify(call.bundle, model=call.model, data=call.data, **limits, announce=call.console.note)
    call.console.say(headline(metrics))
    for table in overview(metrics):
        call.console.table(*table)
    say_checks(metrics, call.console)
    say_verdict(metrics, call.console)
    call.write(metrics, OUTCOMES)
    require_checks(call.bundle, metrics)
    call.console.say(f"{call.bundle}: all {len(metrics.checks)} checks hold")
