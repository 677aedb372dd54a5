"""What shops call our columns, in English and Japanese, and how they write times and kinds of events."""

from __future__ import annotations

from typing import Final

from features import columns as c
from features.importing.mapping import AMOUNT

NAMES: Final[dict[str, tuple[str, ...]]] = {
    c.EVENT_ID: ("event_id", "transaction_id", "line_id", "明細id", "取引id", "イベントid"),
    c.OCCURRED_AT: (
        "occurred_at", "timestamp", "datetime", "date", "time", "order_date", "order_datetime", "ordered_at",
        "purchase_date", "purchased_at", "invoice_date", "created_at", "event_time", "transaction_timestamp",
        "購入日時", "購入日", "注文日時", "注文日", "受注日時", "受注日", "売上日時", "売上日",
        "取引日時", "取引日", "日時", "日付",
    ),
    c.CUSTOMER_ID: (
        "customer_id", "customer", "user_id", "user", "member_id", "member", "member_no", "client_id", "household_id",
        "buyer_id",
        "会員番号", "会員id", "会員コード", "会員no", "顧客番号", "顧客id", "顧客コード",
        "お客様番号", "ユーザーid", "購入者id",
    ),
    c.VISITOR_ID: ("visitor_id", "anonymous_id", "cookie_id", "device_id", "訪問者id", "ビジターid"),
    c.SESSION_ID: ("session_id", "session", "セッションid"),
    c.TYPE: (
        "type", "event_type", "event", "event_name", "action", "イベント", "イベント種別", "種別", "区分", "取引区分",
    ),
    c.ITEM_ID: (
        "item_id", "item", "product_id", "sku", "stock_code", "article_id", "item_code", "product_code", "jan",
        "商品コード", "商品id", "商品番号", "品番", "品目コード", "janコード", "商品管理番号", "アイテムid",
    ),
    c.QUANTITY: ("quantity", "qty", "units", "数量", "個数", "点数", "購入数", "注文数", "販売数"),
    c.UNIT_PRICE: ("unit_price", "price_each", "selling_price", "単価", "販売単価", "商品単価", "売単価"),
    AMOUNT: (
        "amount", "line_total", "total", "sales", "sales_value", "subtotal", "revenue",
        "金額", "小計", "売上金額", "売上", "合計金額", "合計", "購入金額",
    ),
    c.DISCOUNT: ("discount", "discount_amount", "値引", "値引額", "値引き", "割引", "割引額"),
    c.COUPON: ("coupon", "coupon_code", "クーポン", "クーポンコード"),
    c.ORDER_ID: (
        "order_id", "order", "order_no", "order_number", "invoice_no", "invoice_id", "basket_id", "receipt_id",
        "注文番号", "注文id", "受注番号", "受注id", "伝票番号", "レシート番号", "購入番号",
    ),
    c.LINE: ("line", "line_no", "line_number", "明細番号", "行番号", "明細no"),
    c.CHANNEL: ("channel", "sales_channel", "チャネル", "販路", "販売チャネル"),
    c.DEVICE: ("device", "device_type", "デバイス", "端末"),
    c.REGION: ("region", "prefecture", "country", "state", "都道府県", "地域"),
    c.TITLE: ("title", "name", "product_name", "item_name", "description", "商品名", "品名"),
    c.BRAND: ("brand", "brand_name", "ブランド", "ブランド名", "メーカー"),
    c.CATEGORY: ("category", "category_path", "カテゴリ", "カテゴリー", "分類", "商品カテゴリ"),
    c.PRICE: ("price", "list_price", "価格", "販売価格", "定価", "税込価格"),
    "in_stock": ("in_stock", "stock", "available", "在庫", "在庫有無"),
    "image_url": ("image_url", "image", "画像url", "商品画像url"),
    "tier": ("tier", "rank", "membership", "会員ランク", "ランク"),
    "points": ("points", "ポイント", "保有ポイント"),
    c.VALID_FROM: ("valid_from", "updated_at", "更新日時", "更新日"),
    c.LINKED_AT: ("linked_at", "signed_in_at", "連携日時", "ログイン日時"),
    "promised_at": ("promised_at", "delivery_date", "お届け予定日", "配送予定日"),
    "shipment_state": ("shipment_state", "status", "delivery_status", "配送状況", "配送ステータス", "出荷状況"),
}  # fmt: skip
"""Ours -> what shops call it; compared without case, spaces and punctuation."""
CATEGORY_LEVELS: Final = ("大分類", "中分類", "小分類", "大カテゴリ", "中カテゴリ", "小カテゴリ")
TIME_FORMATS: Final = (
    "iso", "unix", "unix-ms", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y年%m月%d日 %H:%M:%S",
    "%Y年%m月%d日 %H:%M", "%Y年%m月%d日 %H時%M分", "%Y年%m月%d日", "%Y.%m.%d %H:%M:%S", "%Y.%m.%d %H:%M",
    "%Y%m%d%H%M%S", "%Y%m%d", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M",
    "%d/%m/%Y", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y",
)  # fmt: skip
TYPE_WORDS: Final = {
    "購入": "purchase", "販売": "purchase", "売上": "purchase", "注文": "purchase", "返品": "return", "返金": "return",
    "閲覧": "view", "お気に入り": "wishlist", "お気に入り追加": "wishlist", "カート": "cart", "カート追加": "cart",
    "検索": "search", "レビュー": "review", "クリック": "click", "sale": "purchase", "buy": "purchase",
    "refund": "return", "add_to_cart": "cart", "pageview": "view",
}  # fmt: skip
