-- Every user there is: for the list and the search by a part of id or name.
CREATE TABLE IF NOT EXISTS ${database}.by_user
(
    tenant    LowCardinality(String),
    user_id   String CODEC(ZSTD(1)),
    -- The newest name that is not empty.
    user_name AggregateFunction(argMaxIf, String, DateTime64(3, 'UTC'), UInt8) CODEC(ZSTD(1)),
    user_type SimpleAggregateFunction(max, LowCardinality(String)) CODEC(ZSTD(1)),
    first     SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    last      SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    -- The day on which the newest event was logged: the start of the retention time.
    logged    SimpleAggregateFunction(max, DateTime('UTC')) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
ORDER BY (tenant, user_id)
TTL toDateTime(logged) + INTERVAL 90 DAY
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1
