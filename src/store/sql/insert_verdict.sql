-- What was concluded of one metric of one series.
INSERT INTO verdict (judged_at, configuration_id, baseline_id, baseline_source, metric, verdict, evidence,
    alert_threshold, baseline_median, candidate_median, effect, effect_low, effect_high, p_value, q_value,
    smallest_effect, first_candidate_run)
VALUES (:judged_at, :configuration_id, (SELECT id FROM baseline WHERE name = :baseline), :baseline_source, :metric,
    :verdict, :evidence, :alert_threshold, :baseline_median, :candidate_median, :effect, :effect_low, :effect_high,
    :p_value, :q_value, :smallest_effect, :first_candidate_run)
