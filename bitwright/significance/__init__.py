"""Significance: which classes are critical, and how much each choice of bits hurts them.

Losses of single objects are measured once and kept (`losses`); every score is read from them. To add a
measure, write a class with a `name` and `measure(context)`, as
`bitwright.problems.protocols.SignificanceMeasure` says; its constructor's annotated keyword arguments
are its options. Register it under the entry point group `bitwright.significance`. The measures
themselves are loaded by name, not here, because they need torch.
"""

from bitwright.significance.cleanup import clean_up as clean_up
from bitwright.significance.critical import confusion_rates as confusion_rates
from bitwright.significance.critical import describe as describe
from bitwright.significance.critical import given_classes as given_classes
from bitwright.significance.critical import most_confused as most_confused
from bitwright.significance.losses import ObjectLosses as ObjectLosses
from bitwright.significance.losses import read_losses as read_losses
from bitwright.significance.table_csv import table_csv as table_csv
