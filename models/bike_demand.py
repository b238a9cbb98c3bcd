"""Rentals of a city's bicycles, from 17,379 hours of 2011 and 2012: see DATA.md."""

from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from models.feed import Feed
from understudy import Model, Schedule

words = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)

model = Model(
    name="bike_demand",
    description="How many bicycles will be rented in an hour? From the calendar and the weather.",
    source=Feed("bike_demand.csv.gz", known_at_start=3000, rows_per_minute=240),  # ten days a minute
    time="arrived_at",
    target="rentals",
    drop=("date",),
    estimator=make_pipeline(
        make_column_transformer((words, ["season", "weekday", "weather"]), remainder="passthrough"),
        HistGradientBoostingRegressor(loss="absolute_error"),
    ),
    metric="mae",
    retrain=Schedule.cron("*/2 * * * *", zone="America/New_York"),
)
