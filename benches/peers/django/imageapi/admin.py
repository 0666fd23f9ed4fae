"""The admin panel has everything."""

from django.contrib import admin

from .models import Account, ExpiringLink, Image, Thumbnail, Tier

admin.site.register([Account, ExpiringLink, Image, Thumbnail, Tier])
