-- What countersign itself writes is no event of a source: the overview does not count it.
ALTER TABLE ${database}.event_counts_fill MODIFY QUERY
SELECT
    tenant,
    toStartOfFiveMinutes(toDateTime(time, 'UTC')) AS bucket,
    outcome,
    country,
    max(time) AS newest,
    uniqState(id) AS events
FROM ${database}.events
WHERE kind NOT IN ('verdict', 'context', 'erasure')
GROUP BY tenant, bucket, outcome, country
