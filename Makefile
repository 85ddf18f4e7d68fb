PYTHON ?= python

.PHONY: run test slow soak check bench effects ladder screenshots

run:          ## open the screen
	$(PYTHON) app.py

test:         ## the everyday tests, under three minutes
	$(PYTHON) -m pytest

slow:         ## the long tests as well
	$(PYTHON) -m pytest -m "not gpu"

soak:         ## the long tests with their full counts, an hour or two
	NANODECK_SOAK=1 $(PYTHON) -m pytest -n 0 -m "slow and not gpu"

check:        ## everything that CI looks at, besides the tests
	ruff check .
	ruff format --check .
	pyright

bench:        ## figures of this machine: start-up, keys, and what the screen costs
	$(PYTHON) app.py bench
	$(PYTHON) -m tests.bench

effects:      ## what each setting does to the reference run, for the form's help; takes hours
	$(PYTHON) -m tests.effects

ladder:       ## seconds to each of some losses beside nanoGPT, with a chart: NANOGPT=its checkout
	$(PYTHON) -m tests.ladder $(NANOGPT)

screenshots:  ## the pictures in the README, made from the running app
	$(PYTHON) docs/screenshots.py
