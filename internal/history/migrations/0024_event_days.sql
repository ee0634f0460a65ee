-- Events by days, for the overview of months; large numbers are within a percent. event_counts is finer.
CREATE TABLE IF NOT EXISTS ${database}.event_days
(
    tenant  LowCardinality(String),
    day     Date CODEC(ZSTD(1)),
    outcome LowCardinality(String),
    newest  SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    events  AggregateFunction(uniqCombined(14), FixedString(16)) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYear(day)
-- A tenant's span of time is one range. No person is in here, so it may outlive the events.
ORDER BY (tenant, day, outcome)
TTL day + INTERVAL 800 DAY
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1
