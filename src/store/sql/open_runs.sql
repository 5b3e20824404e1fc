-- Which planned runs are not done? Of one campaign, in one state, or all.
SELECT planned_run.id, planned_run.plan, planned_run.lease_host, planned_run.lease_process_id,
    planned_run.lease_process_start, planned_run.heartbeat_at, campaign.uuid, campaign.started_at, campaign.command_line, campaign.label,
    campaign.seed
FROM planned_run JOIN campaign ON campaign.id = planned_run.campaign_id
WHERE planned_run.state <> 'done'
    AND (:campaign IS NULL OR campaign.uuid = :campaign)
    AND (:state IS NULL OR planned_run.state = :state)
ORDER BY campaign.id, planned_run.position
