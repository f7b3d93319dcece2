// SPDX-License-Identifier: Apache-2.0

/// What each metric counts, as `/metrics` and docs/observability.md say it.
package enum MetricHelp {
    package static let texts: [String: String] = [
        "fairlead_attempts_total": "Attempts to deliver that began.",
        "fairlead_build_info": "Which version runs; always 1.",
        "fairlead_config_generation": "Number of the running generation.",
        "fairlead_config_last_reload_success": "1 where the last reload or rollback was applied, else 0.",
        "fairlead_config_last_reload_success_timestamp_seconds": "When the running generation took over.",
        "fairlead_config_reload_total": "Reloads and rollbacks, by what they ended in.",
        "fairlead_dedupe_forgotten_total": "Events that dedupe forgot before their time, as it was full.",
        "fairlead_deliveries_total": "Attempts that ended, by outcome: ack, retry, drop, or dead for a dead letter.",
        "fairlead_delivery_duration_seconds":
            "Time from the start of an attempt to its end, in whole milliseconds; of a pull, how long a lease was held.",
        "fairlead_endpoint_down": "1 while the breaker of an endpoint is open.",
        "fairlead_endpoint_outages_total": "How often the breaker of an endpoint has opened.",
        "fairlead_events_duplicate_total": "Events that were published again within dedupe, and not stored again.",
        "fairlead_events_expired_total": "Events that retention has removed.",
        "fairlead_events_lost_total": "Events that a subscriber was to get and that are gone.",
        "fairlead_events_published_total": "Events stored.",
        "fairlead_filter_candidates_total":
            "Filters asked; divided by fairlead_filter_events_total, how many for each event.",
        "fairlead_filter_data_unparseable_total": "Events whose data a filter asked for and that have no JSON.",
        "fairlead_filter_events_total": "Events that were matched with the filters on their topic.",
        "fairlead_filter_type_mismatch_total":
            "Comparisons in filters with a value of another kind, which are neither true nor false.",
        "fairlead_filter_unindexed": "Filters that are asked of every event, as the index has nothing to find them by.",
        "fairlead_fsync_duration_seconds": "Time to make a group of appends durable.",
        "fairlead_history_per_second": "Records a second that replays and imports go through, lately.",
        "fairlead_history_remaining": "Records that replays and imports have not settled.",
        "fairlead_history_runs": "Replays and imports under way.",
        "fairlead_history_settled_total": "Records that replays and imports have settled.",
        "fairlead_http_connections": "Connections of clients that are open.",
        "fairlead_http_refused_total": "Connections and requests refused before they were handled, by reason.",
        "fairlead_http_request_duration_seconds": "Time to answer an HTTP request, waits included.",
        "fairlead_http_requests_total": "HTTP requests answered, by route, method and status.",
        "fairlead_matches_total": "Events that were found to be for a subscriber, once for each.",
        "fairlead_outbox_events_total": "Events published by plugins, and events on system topics.",
        "fairlead_plugin_errors_total": "Calls of a plugin that raised an error or were stopped by the host.",
        "fairlead_plugin_metric_total": "What plugins count with ctx.metric.",
        "fairlead_publishes_rejected_total": "Publish requests refused, by topic and reason.",
        "fairlead_store_bytes": "Bytes of a topic in the journal.",
        "fairlead_store_events": "Events of a topic in the journal.",
        "fairlead_subscriber_backlog_events":
            "Events not settled; while the subscriber is behind an upper bound, as those unread are not filtered yet.",
        "fairlead_subscriber_dead_letters": "Dead letters that nobody has dealt with.",
        "fairlead_subscriber_in_flight": "Deliveries under way or leased.",
        "fairlead_subscriber_oldest_unsettled_seconds": "Age of the oldest event not settled; 0 where there is none.",
        "fairlead_subscriber_retrying": "Deliveries that wait for a retry or behind their key.",
        "fairlead_subscriber_state": "1 for the state that a subscriber is in, 0 for the others.",
    ]
}
