"""Tiers, accounts' tiers, images, thumbnails and expiring links."""

import uuid
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.text import slugify

SLUG_CHARS = 10


class Tier(models.Model):
    name = models.CharField(max_length=100, unique=True)
    heights = models.JSONField(default=list)
    original_access = models.BooleanField(default=False)
    expiring_links = models.BooleanField(default=False)

    def __str__(self):
        return self.name


class Account(models.Model):
    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    # a tier in use cannot be deleted
    tier = models.ForeignKey(Tier, on_delete=models.PROTECT)

    def __str__(self):
        return self.user.username


def file_name(title, extension):
    return f"{slugify(title[:SLUG_CHARS])}-{uuid.uuid4()}{extension}"


class Image(models.Model):
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    title = models.CharField(max_length=255)
    file = models.FileField(max_length=255, upload_to="original")
    uploaded_at = models.DateTimeField(auto_now_add=True)

    @property
    def tier(self):
        return self.owner.account.tier

    @property
    def extension(self):
        return Path(self.file.name).suffix

    def __str__(self):
        return self.title


class Thumbnail(models.Model):
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="thumbnails")
    height = models.PositiveIntegerField()
    name = models.CharField(max_length=255, unique=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["image", "height"], name="one_of_each_height")]

    @property
    def path(self):
        return settings.MEDIA_ROOT / "resized" / self.name


class ExpiringLink(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="expiring_links")
    valid_for = models.PositiveIntegerField()
    expiration = models.DateTimeField()

    @classmethod
    def make(cls, image, valid_for):
        expiration = timezone.now() + timedelta(seconds=valid_for)
        return cls.objects.create(image=image, valid_for=valid_for, expiration=expiration)

    @classmethod
    def live(cls):
        return cls.objects.filter(expiration__gt=timezone.now())
