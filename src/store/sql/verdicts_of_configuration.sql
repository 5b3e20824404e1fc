-- What was concluded of one series, the newest first.
SELECT verdict.judged_at AS judged, verdict.verdict, verdict.metric, verdict.baseline_source AS against,
    verdict.baseline_median AS before, verdict.candidate_median AS now, verdict.effect, verdict.evidence,
    verdict.p_value AS p, verdict.first_candidate_run AS run, verdict.accepted_at AS accepted,
    verdict.accepted_note AS note
FROM verdict
WHERE verdict.configuration_id = :configuration
ORDER BY verdict.judged_at DESC, verdict.id DESC
LIMIT 50
