"""Rain at a weather station, from 18,159 days of readings (1949-1999): see DATA.md."""

from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.feed import Feed
from understudy import Model, Schedule

model = Model(
    name="rain",
    description="Did it rain? From a day's readings at a weather station.",
    source=Feed(
        "rain.csv.gz",
        known_at_start=3000,
        rows_per_minute=400,
        # The air pressure at sea level has never left these bounds; two readings of 5,503 hPa are errors.
        possible={"sea_level_pressure_hpa": (850, 1100)},
    ),
    time="arrived_at",
    target="rain",
    estimator=make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(max_iter=1000)),
    metric="log_loss",
    retrain=Schedule.every(minutes=1),
)
