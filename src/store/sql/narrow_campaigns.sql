-- Which campaigns does a selection mean?
SELECT campaign.id
FROM campaign
WHERE (:campaign IS NULL OR campaign.uuid = :campaign) AND (:label IS NULL OR campaign.label = :label)
