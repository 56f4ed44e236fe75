"""What is decided: precisions, networks as described, allocation problems, solutions, fronts.

Value types are frozen, checked at birth, picklable and equal by value. This room imports nothing of
ours and neither torch nor scipy; the file formats are in `bitwright.problems.formats`.
"""

from bitwright.problems.budgets import Budget as Budget
from bitwright.problems.configuration import BitConfiguration as BitConfiguration
from bitwright.problems.device import Device as Device
from bitwright.problems.errors import BitwrightError as BitwrightError
from bitwright.problems.errors import InputError as InputError
from bitwright.problems.errors import MeasurementError as MeasurementError
from bitwright.problems.errors import MissingDependencyError as MissingDependencyError
from bitwright.problems.errors import UnsupportedProblemError as UnsupportedProblemError
from bitwright.problems.errors import UntrueAnswerError as UntrueAnswerError
from bitwright.problems.errors import nearest as nearest
from bitwright.problems.exact import ExactColumn as ExactColumn
from bitwright.problems.front import FrontPoint as FrontPoint
from bitwright.problems.front import ParetoFront as ParetoFront
from bitwright.problems.front import non_dominated as non_dominated
from bitwright.problems.measurements import Quality as Quality
from bitwright.problems.network import ActivationTensor as ActivationTensor
from bitwright.problems.network import LayerDescription as LayerDescription
from bitwright.problems.network import Link as Link
from bitwright.problems.network import NetworkDescription as NetworkDescription
from bitwright.problems.precision import FLOAT32 as FLOAT32
from bitwright.problems.precision import Precision as Precision
from bitwright.problems.problem import AllocationProblem as AllocationProblem
from bitwright.problems.problem import Choice as Choice
from bitwright.problems.problem import Evaluation as Evaluation
from bitwright.problems.problem import LayerChoices as LayerChoices
from bitwright.problems.scores import CriticalClasses as CriticalClasses
from bitwright.problems.scores import SignificanceTable as SignificanceTable
from bitwright.problems.solution import Solution as Solution
from bitwright.problems.solution import Status as Status
from bitwright.problems.terms import Interaction as Interaction
from bitwright.problems.terms import Peak as Peak
from bitwright.problems.ties import Tie as Tie
