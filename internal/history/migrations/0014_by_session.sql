-- Whose a session is and when it was seen: from a session's id to the range of events' sort key that holds it.
CREATE TABLE IF NOT EXISTS ${database}.by_session
(
    tenant     LowCardinality(String),
    session_id String CODEC(ZSTD(1)),
    user_id    String CODEC(ZSTD(1)),
    first      SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)),
    last       SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)),
    -- The day on which the newest event of it was logged: the start of its retention time.
    logged     SimpleAggregateFunction(max, DateTime('UTC')) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
ORDER BY (tenant, session_id, user_id)
TTL toDateTime(logged) + INTERVAL 90 DAY
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1
