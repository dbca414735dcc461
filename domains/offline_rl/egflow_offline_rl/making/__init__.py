"""How the data of `egflow_offline_rl.make_data` come about: a PPO and a waypoint controller, episodes, what is written.

Private to `make_data`; nothing is re-exported.
"""
