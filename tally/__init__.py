"""The ground floor of Tally: settings, event contract, warehouse client, local stack, command line.

Everything above (ingest, orchestration, serving_api, expectations, simulator) may import this
package; this package imports none of them.
"""
