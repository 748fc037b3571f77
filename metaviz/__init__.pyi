from metaviz.api.comparing import Comparison as Comparison
from metaviz.api.judging import Evaluation as Evaluation
from metaviz.api.predicting import Adapted as Adapted
from metaviz.api.predicting import Predictions as Predictions
from metaviz.api.predicting import adapt as adapt
from metaviz.api.predicting import predict as predict
from metaviz.api.stored import Run as Run
from metaviz.api.stored import Runs as Runs
from metaviz.api.stored import Store as Store
from metaviz.api.stored import open_run as open_run
from metaviz.api.stored import open_store as open_store
from metaviz.api.tables import Table as Table
from metaviz.api.working import compare as compare
from metaviz.api.working import evaluate as evaluate
from metaviz.api.working import train as train
from metaviz.config.options import OptionError as OptionError
from metaviz.runs.storage.store import StoreError as StoreError

__version__: str
