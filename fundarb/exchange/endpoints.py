"""The endpoints that fundarb uses, with the name of ccxt's implicit method, the rate group and the path.

Only these can be called: no unified method of the library is used anywhere. Nothing here is sent.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One REST endpoint. ``group`` names its per-account rate limit ("" for public ones, which share the
    IP's).
    """

    method: str
    group: str = ""

    @property
    def signed(self) -> bool:
        """Whether it needs a key."""
        return self.method.startswith("private")

    @property
    def write(self) -> bool:
        """Whether it changes something at the venue; such a request is never repeated."""
        return "Post" in self.method


TIME = Endpoint("publicGetV5MarketTime")
INSTRUMENTS = Endpoint("publicGetV5MarketInstrumentsInfo")
TICKERS = Endpoint("publicGetV5MarketTickers")
ORDER_BOOK = Endpoint("publicGetV5MarketOrderbook")
MARK_KLINE = Endpoint("publicGetV5MarketMarkPriceKline")
FUNDING_HISTORY = Endpoint("publicGetV5MarketFundingHistory")
RISK_LIMIT = Endpoint("publicGetV5MarketRiskLimit")
COLLATERAL = Endpoint("publicGetV5SpotMarginTradeCollateral")

QUERY_API = Endpoint("privateGetV5UserQueryApi", "query-api")
ACCOUNT_INFO = Endpoint("privateGetV5AccountInfo", "account")
USER_SETTINGS = Endpoint("privateGetV5AccountUserSettingConfig", "account")
WALLET = Endpoint("privateGetV5AccountWalletBalance", "account")
FEE_RATE = Endpoint("privateGetV5AccountFeeRate", "fee-rate")
TRANSACTION_LOG = Endpoint("privateGetV5AccountTransactionLog", "transaction-log")
POSITIONS = Endpoint("privateGetV5PositionList", "position")
ORDER_REALTIME = Endpoint("privateGetV5OrderRealtime", "order-realtime")
ORDER_HISTORY = Endpoint("privateGetV5OrderHistory", "order-history")
EXECUTIONS = Endpoint("privateGetV5ExecutionList", "execution")

CREATE = Endpoint("privatePostV5OrderCreate", "create")
CANCEL = Endpoint("privatePostV5OrderCancel", "cancel")
SET_LEVERAGE = Endpoint("privatePostV5PositionSetLeverage", "set-leverage")
SWITCH_MODE = Endpoint("privatePostV5PositionSwitchMode", "switch-mode")
