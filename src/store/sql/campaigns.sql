-- How far are the newest campaigns?
SELECT campaign.uuid, campaign.started_at, campaign.command_line, campaign.label, campaign.seed,
    (SELECT count(*) FROM planned_run WHERE planned_run.campaign_id = campaign.id) AS planned,
    (SELECT count(*) FROM planned_run WHERE planned_run.campaign_id = campaign.id AND planned_run.state = 'done') AS done
FROM campaign
ORDER BY campaign.started_at DESC, campaign.id DESC
LIMIT ?1
