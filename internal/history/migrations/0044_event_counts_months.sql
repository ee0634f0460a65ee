-- As events: a quiet month becomes one part.
ALTER TABLE ${database}.event_counts
    MODIFY SETTING min_age_to_force_merge_seconds = 604800, min_age_to_force_merge_on_partition_only = 1
