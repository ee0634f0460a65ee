-- Days of which the events are gone, by as many ids as event_counts knows of: those are made of what they stand for, so that
-- another try adds none. Nothing on a new database.
INSERT INTO ${database}.event_days (tenant, day, outcome, newest, events)
SELECT tenant, day, outcome, max(latest), uniqCombinedState(14)(made)
FROM (
    SELECT tenant, toDate(bucket) AS day, outcome, latest, sipHash128(tenant, bucket, outcome, country, arrayJoin(range(n))) AS made
    FROM (
        SELECT tenant, bucket, outcome, country, max(newest) AS latest, uniqMerge(events) AS n
        FROM ${database}.event_counts
        WHERE (tenant, toDate(bucket)) NOT IN (SELECT tenant, toDate(time) FROM ${database}.events)
        GROUP BY tenant, bucket, outcome, country
    )
)
GROUP BY tenant, day, outcome
SETTINGS max_block_size = 64, max_threads = 1
