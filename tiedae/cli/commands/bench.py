"""Measure latency, memory, start-up and bytes of a bundle's files, and record them in the bundle."""

from .command import Call, Parser, require_for


def add_arguments(parser: Parser) -> None:
    parser.add_bundle()
    parser.add_path("--model", "DIR", "also the Keras original, OUT/model")
    parser.add_path("--data", "SOURCE", "samples to run on (default: the bundle's golden ones)", type=str)
    parser.add_flag("--quick", "reconstruct at batch 1 only, in seconds; intervals are wider")
    parser.add_json("the rows")


def run(call: Call) -> None:
    require_for(call.locate_bundle(), call.model)
    from tiedae.verify.bench.benchmark import QUICK, Plan, tables, verdict

    from ..verification import bench

    plan = QUICK if call.quick else Plan()
    measured = bench(call.bundle, model=call.model, data=call.data, plan=plan, announce=call.console.note)
    for table in tables(measured) if call.console.verbosity >= 0 else ():
        call.console.table(*table)
    for line in verdict(measured):
        call.console.say(line)
    call.write(measured)
