-- Small batches are merged ten at a time, not as soon as a few lie together: of what a batch of 1,000
-- rows cost the warehouse, half was that its rows were written again and again (64 ms of CPU, with
-- this 47). A read meets a few parts more; what is left alone for a while is merged as before.
alter table raw.events modify setting merge_selector_base = 10;

alter table raw.round_events modify setting merge_selector_base = 10;

alter table raw.arrivals modify setting merge_selector_base = 10;

alter table raw.event_ids modify setting merge_selector_base = 10;
