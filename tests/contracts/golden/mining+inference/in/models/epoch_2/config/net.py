weights config/net.py
