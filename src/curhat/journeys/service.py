"""Temporary."""

from curhat.journeys.availability import *
from curhat.journeys.charging import *
from curhat.journeys.mitras import *
from curhat.journeys.paying import *
from curhat.journeys.renaming import *
from curhat.journeys.searching import *
