-- The countries of these days, as 0041, by days and weeks.
INSERT INTO ${database}.by_place (tenant, step, bucket, country, region, city, events)
SELECT tenant, step, toDateTime(intDiv(toUnixTimestamp(at), step) * step, 'UTC') AS start, country, '', '', uniqCombinedState(12)(made)
FROM (
    SELECT tenant, arrayJoin([86400, 604800])::UInt32 AS step, at, country, made
    FROM (
        SELECT tenant, bucket AS at, country, toUInt32(cityHash64(tenant, bucket, outcome, country, arrayJoin(range(n))) % 4294967296) AS made
        FROM (
            SELECT tenant, bucket, outcome, country, uniqMerge(events) AS n
            FROM ${database}.event_counts
            WHERE country != '' AND (tenant, toDate(bucket)) NOT IN (SELECT tenant, toDate(time) FROM ${database}.events)
            GROUP BY tenant, bucket, outcome, country
        )
    )
)
GROUP BY tenant, step, start, country
SETTINGS max_block_size = 64, max_threads = 1
